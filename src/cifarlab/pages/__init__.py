"""What a run or a study shows to a reader."""
