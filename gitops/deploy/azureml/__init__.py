"""The target `azureml`: managed online endpoints of Azure Machine Learning, by its command line."""
