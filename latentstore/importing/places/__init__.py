"""Where samples lie together: folders, tars, MosaicML Streaming, arrays whose first axis counts samples."""
