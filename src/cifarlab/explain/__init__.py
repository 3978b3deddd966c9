"""Why a network predicts what it does: what its layers see, where it looks, and whether that can be trusted."""
