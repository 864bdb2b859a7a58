"""Knowledge as data: bits, parts, kernels. Each row has its source; one small loader a table."""
