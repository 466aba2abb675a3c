"""The native form: what `save` writes."""
