"""Likelihoods of counts and of first successes, their maxima and intervals."""
