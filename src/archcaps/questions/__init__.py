"""What one can ask, one file a question; each is one public function with a typed result."""
