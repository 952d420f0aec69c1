"""Writing WebDatasets. What is written is described in `loaders.webdataset.layout`, where its reader finds it too."""
