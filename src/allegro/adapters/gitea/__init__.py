"""The forge adapter: Gitea and Forgejo over their HTTP API."""
