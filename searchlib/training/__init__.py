"""Models made better on one's own documents: pseudo-queries, mining, teachers, training, proof."""
