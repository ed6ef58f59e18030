"""Whether a class lets new students in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column. Its default is for servers of the version before, which may still be running."""
    op.add_column("classroom", sa.Column("admits", sa.Boolean(), nullable=False, server_default=sa.true()))
