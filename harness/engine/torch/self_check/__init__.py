"""What a loaded model is compared with before it is trusted: plain forwards with eager attention."""
