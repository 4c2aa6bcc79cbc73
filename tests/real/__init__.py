"""Against real servers that nobody here wrote: `make real`. Their models are tiny, random and made on the spot."""
