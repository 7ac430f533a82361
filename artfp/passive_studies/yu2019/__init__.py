"""Studies of classifiers of sources as in Yu et al. 2019."""
