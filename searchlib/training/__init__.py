"""Training: encoders made to fit a corpus, with its own text or with judgements."""
