"""What is answered: by a lane to its house, and by a house on its socket. One Struct an answer.

The fields are the names in JSON and MessagePack. A lane's answer is read where it comes in: its
types are bounded, what they do not name is ignored, and what cannot be read is shown as unknown.
"""
