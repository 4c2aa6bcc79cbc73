"""Readers of Amazon Bedrock's runtime: Converse, and the models' own bodies behind Invoke."""
