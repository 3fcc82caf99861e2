"""What is said and how it is signed: headers, bodies, chains, keys and features."""
