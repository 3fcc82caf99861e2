"""Many byte strings at once: where they lie, what they hash to, and which are the same."""
