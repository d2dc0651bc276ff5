"""The gallery: pages that show queries, and what two methods rank nearest to each, side by side."""
