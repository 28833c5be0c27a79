"""The API families, by the name that an endpoint gives its rules."""

from inference.families import anthropic, openai, responses
from inference.families.base import Rules

RULES: dict[str, Rules] = {
    "chat": openai.ChatRules(),
    "completions": openai.CompletionsRules(),
    "embeddings": openai.EmbeddingsRules(),
    "tokenize": openai.TokenizeRules(),
    "detokenize": openai.DetokenizeRules(),
    "messages": anthropic.MessagesRules(),
    "count_tokens": anthropic.CountTokensRules(),
    "responses": responses.ResponsesRules(),
}
