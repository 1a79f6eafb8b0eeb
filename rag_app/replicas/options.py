"""How many replicas there are and how they batch."""

from pydantic import BaseModel, ConfigDict, Field


class ReplicaOptions(BaseModel):
    """Options of an application of replicas; what they search and with what comes from `rag_app.settings.Settings`.

    Attributes:
        replicas: How many processes search.
        cpus: How many cores Ray sets aside for each.
        batch_size: How many questions are searched for together at most; 1 for each by itself.
        batch_wait_ms: How long a question waits for others to come. Those that come while a search is under way are
            searched for together in any case.
        queue: How many questions wait at most, at each proxy, before others are refused with 503.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=2, ge=1)
    cpus: float = Field(default=1, ge=0)
    batch_size: int = Field(default=16, ge=1, le=256)
    batch_wait_ms: float = Field(default=0, ge=0, le=1000)
    queue: int = Field(default=1000, ge=1)
