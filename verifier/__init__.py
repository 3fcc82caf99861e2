"""The verifier: reads an agreement and the logs under it, and says what was kept, broken, or could not be told."""
