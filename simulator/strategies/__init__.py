"""What parties do under an agreement: keep it, or break it in one way. One file each."""
