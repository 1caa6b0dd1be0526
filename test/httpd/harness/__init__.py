"""A private httpd, a CA, ACME clients and an independent certificate checker for live tests.

Nothing here depends on pytest, so that scripts can use it too.
"""
