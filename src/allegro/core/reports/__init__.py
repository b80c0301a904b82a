"""The morning report: facts of one day, what is wrong or unknown about them, and their wording."""
