"""Programs that build and train the models: each runs with ``python -m finetune.NAME --help``."""
