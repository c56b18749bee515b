"""HTTP as data, and the layers every request under the pathname walks. Nothing here reads or writes bytes."""
