package import EventLoop
