"""Model providers: who answers, what an answer or a refusal means, what it costs."""
