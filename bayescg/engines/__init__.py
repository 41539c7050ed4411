"""Other people's engines, driven to make fine-grained data; each is imported only when it runs."""
