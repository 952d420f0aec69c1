"""TIFF: which page is the image, and pages whose samples Pillow does not decode, or decodes wrong."""
