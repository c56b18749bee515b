"""HTTP as data, and the layers that every request walks. Nothing here reads or writes bytes."""
