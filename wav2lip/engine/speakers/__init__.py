"""Several people in the picture: which audio each of them speaks, and who speaks in the source."""
