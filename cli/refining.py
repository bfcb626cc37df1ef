"""Options that make a retriever better at the price of time: feedback, and a reranker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from searchlib.scorer import Scorer
    from searchlib.searching import Searching

Feedback = Annotated[
    bool,
    typer.Option("--feedback", help="Ask again with what the best passages say (see README)."),
]
FeedbackPassages = Annotated[
    int | None,
    typer.Option(help="How many passages to learn from [default: 5].", show_default=False),
]
FeedbackTerms = Annotated[
    int | None, typer.Option(help="How many terms to learn [default: 20].", show_default=False)
]
FeedbackWeight = Annotated[
    float | None,
    typer.Option(help="The question's own weight, 0 to 1 [default: 0.7].", show_default=False),
]
Rerank = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Order the best by a cross-encoder: a folder or a name."),
]
RerankDepth = Annotated[
    int | None,
    typer.Option(help="How many it orders at a time [default: 50].", show_default=False),
]


def refining(
    engine: Searching,
    retriever: str,
    *,
    feedback: bool,
    passages: int | None,
    terms: int | None,
    weight: float | None,
    rerank: str | None,
    depth: int | None,
) -> str | Scorer:
    """The retriever that the options ask for; its name where they ask for nothing."""
    learned = {"passages": passages, "terms": terms, "weight": weight}
    given = {name: value for name, value in learned.items() if value is not None}
    if given and not feedback:
        raise typer.BadParameter(f"--feedback-{next(iter(given))} needs --feedback")
    if depth is not None and rerank is None:
        raise typer.BadParameter("--rerank-depth needs --rerank")
    asked: str | Scorer = retriever
    if feedback:
        from searchlib.feedback import Feedback as Settings

        settings = Settings()
        asked = engine.refined(
            asked,
            Settings(
                settings.passages if passages is None else passages,
                settings.terms if terms is None else terms,
                settings.weight if weight is None else weight,
            ),
        )
    if rerank is not None:
        asked = engine.reranked(asked, rerank, depth=50 if depth is None else depth)
    return asked
