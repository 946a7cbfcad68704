"""Online inference over HTTP: one application on Ray Serve answers for every champion."""
