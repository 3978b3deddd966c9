"""Why a network predicts what it does: feature maps, heat maps, and the test that each map has to pass."""
