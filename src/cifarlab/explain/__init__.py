"""Why a network answers as it does: what its layers see, where it looks, and whether that can be trusted."""
