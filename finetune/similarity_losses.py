"""The losses of similarity training; those that compare the pairs of a batch compare them over all processes."""

from typing import TYPE_CHECKING, Any

from sentence_transformers.sentence_transformer.losses import AnglELoss, CoSENTLoss, CosineSimilarityLoss
from sentence_transformers.util import all_gather, all_gather_with_grad

from finetune.processes import processes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor


def build_loss(name: str, model: "SentenceTransformer") -> Any:
    """Return a loss by its name: ``cosine``, ``cosent`` or ``angle``."""
    alone = {"cosine": CosineSimilarityLoss, "cosent": CoSENTLoss, "angle": AnglELoss}
    together = {**alone, "cosent": GatheredCoSENTLoss, "angle": GatheredAnglELoss}
    return (together if processes() > 1 else alone)[name](model)


class GatheredCoSENTLoss(CoSENTLoss):
    """CoSENT over the pairs of all processes; sentence-transformers' own compares those of one.

    Each process has the loss of the whole batch, and the gradient of its share of it from every other process.
    """

    def compute_loss_from_embeddings(self, embeddings: list["Tensor"], labels: "Tensor") -> "Tensor":
        """Return the loss; embeddings ``(2, n, dim)`` and labels ``(n,)`` are those of this process."""
        embeddings = [all_gather_with_grad(embedding) for embedding in embeddings]
        return super().compute_loss_from_embeddings(embeddings, all_gather(labels))


class GatheredAnglELoss(GatheredCoSENTLoss, AnglELoss):  # type: ignore[misc]  # its labels may be None
    """AnglE over the pairs of all processes, likewise: CoSENT with another similarity."""
