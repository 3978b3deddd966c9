"""Networks, one file each, in one literal dict: registry.MODELS; bridges to torchvision and timm."""
