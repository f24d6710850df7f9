"""A model folder -> a repository of Hugging Face, by huggingface-hub and the user's own login."""

from pathlib import Path

from keras_retinanet.errors import UserError


def require_hub() -> None:
    """Raise a UserError if huggingface-hub is not installed."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Expected huggingface-hub for --push. Received: {error}. "
            "Install it: pip install huggingface-hub."
        ) from error


def push_folder(folder: Path, repository: str, *, revision: str = "main") -> str:
    """Upload the files of `folder`, making the repository if there is none; return its address.

    Args:
        repository: "user/name".

    Raises:
        UserError: the hub refuses it or cannot be reached.
    """
    require_hub()
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message="Share a model by keras_retinanet",
        )
    except Exception as error:  # The client's, its transport's, or of a missing login.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"Expected to push {folder} to hf://{repository}. Received: {reason[0]}. The folder is "
            "whole; log in with `hf auth login`, check the name, and push it again with `hf upload "
            f"{repository} {folder}`."
        ) from error
    return str(done)
