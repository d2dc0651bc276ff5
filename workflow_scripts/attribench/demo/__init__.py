"""The live page: what a method gives one image's influence to, over the features that a run has made.

run          what a run has made, and where it lies: the one module that reads the plan
rows         a method's database as unit rows in a memory-mapped file, and their scores with a query
method       what a method needs to answer: its rows, mappers, calibrator, network
candidates   a split's queries and exemplars, and the feature of an image of one's own
attribution  scores, influence and ranks of all candidates of one image
table        the answer as CSV
markup       the answer as HTML: images sized by influence, and the table
thumbnails   small images for that
cache        what the page keeps in memory between answers
page         the page itself, by Streamlit; all the rest does without
"""
