"""The codecs of Zarr v3 and numcodecs: chunks of images and of latents."""
