"""Batches of images on the device: loading, resizing, augmentation, mixing."""
