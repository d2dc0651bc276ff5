"""attribench: the evaluation of data attribution for text-to-image models."""
