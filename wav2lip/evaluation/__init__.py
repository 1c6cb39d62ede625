"""How good made videos are: the paper's measures and some more, of any number of models, beside the real videos."""
