"""Containers: hostile bytes in, trees and tensors out; they know nothing of models, and of ours use the error alone."""
