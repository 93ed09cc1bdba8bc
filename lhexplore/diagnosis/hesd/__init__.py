"""The type of a Hessian eigenspectral density, its criteria with their intervals, and how to read them."""
