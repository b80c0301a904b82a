"""What the house shows a person: alerts, doctor's facts, items set aside."""
