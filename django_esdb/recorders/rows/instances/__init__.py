"""From rows to instances that handlers change, and back."""
