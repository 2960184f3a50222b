"""`bufferproxy demo`: what a spike does to a fragile service, without and with bufferproxy between.

An application on top, of real parts only: the service and the proxy are processes of their own, and every
number shown was measured. In the order of the story:

    scenario.py   how large everything is
    fragile.py    how a service with a small connection pool breaks (pure)
    service.py    that service, as a process on loopback that stamps what arrives
    reports.py    what it says about itself, line by line
    spike.py      callers who keep coming, and do not wait for ever
    children.py   the processes: started, watched, ended
    proxy.py      bufferproxy as a child, and what its admin plane says
    tally.py      what was seen so far
    story.py      the two runs, one after the other
    measure.py    what it comes to: summary, ceiling, verdict (pure)
    view.py       the terminal; table.py the end of it; plot.py the picture
    play.py       all of it
"""
