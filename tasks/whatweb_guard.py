"""What WhatWeb is given to load: each target at its own address, nothing else connected to, nothing without an end.

WhatWeb 0.5 resolves names itself, cannot be told an address for one, opens what its plugins ask for wherever that is,
spells IPv6 wrongly, and has no bound on the time and the size of a page. All of it is Ruby that a plugin can put right,
and a plugin is any file that is named to it.
"""

from __future__ import annotations

PLACES, TARGETS, GUARD = "places", "targets", "guard.rb"
PLUGIN_SECONDS = 2
"""Patterns of WhatWeb's plugins take minutes on some pages of a megabyte."""

SOURCE = r"""\
# A plugin for WhatWeb. The file `places` has a line for each target: its URL, its address.
require 'resolv'
require 'timeout'

module Guard
  PLACES = File.readlines('places').map(&:split).to_h.freeze
  SECONDS, BYTES = ENV.fetch('TARGET_SECONDS').to_i, ENV.fetch('TARGET_BYTES').to_i
  class Refused < StandardError; end
  class Enough < StandardError; end

  # A worker's thread has one target at a time; what plugins open on the way belongs to it.
  def self.begin(url)
    return if url == Thread.current[:target] || !PLACES.key?(url)
    Thread.current[:target] = url
    Thread.current[:until] = now + SECONDS
  end

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def self.left
    [Thread.current[:until].to_f - now, 0.001].max
  end

  def self.address(host, port = nil)
    uri, place = URI.parse(Thread.current[:target].to_s), PLACES[Thread.current[:target]]
    named = [place, uri.hostname].compact.include?(host.to_s.delete('[]'))
    raise Refused, 'it leads elsewhere' unless named && [nil, uri.port].include?(port)
    place
  end
end

Target.prepend(Module.new do
  def open
    Guard.begin(target)
    Timeout.timeout(Guard.left) { super() }
  end

  # Not even looked for: one that cannot be read would end the thread.
  def get_redirection_target; end
end)

# Patterns that take for ever on some pages.
Plugin.prepend(Module.new do
  def scan(target)
    Timeout.timeout([Guard.left, PLUGIN_SECONDS].min) { super }
  end
end)

class << Resolv
  prepend(Module.new do
    def getaddress(name)
      Guard.address(name)
    end
  end)
end

TCPSocket.prepend(Module.new do
  def initialize(host, port, *rest, **options)
    super(Guard.address(host, port), port, *rest, **options)
  end
end)

ExtendedHTTP.prepend(Module.new do
  def initialize(address, port = nil)
    super(address.delete('[]'), port)
  end
end)

# RFC 6066: a server name is no address.
OpenSSL::SSL::SSLSocket.prepend(Module.new do
  def hostname=(name)
    super unless name =~ Resolv::AddressRegex
  end
end)

Net::BufferedIO.prepend(Module.new do
  private

  def rbuf_fill
    before = @rbuf.bytesize
    begin
      super
    rescue OpenSSL::SSL::SSLError => e
      # Many servers end without saying so in TLS; what they sent counts.
      raise e.message.include?('unexpected eof') ? EOFError : e
    end
    @taken = @taken.to_i + [@rbuf.bytesize - before, 0].max
    raise Guard::Enough, 'it is too big' if @taken > Guard::BYTES
  end
end)

# What has been read of a big page is looked at.
Net::HTTPResponse.prepend(Module.new do
  private

  def read_body_0(dest)
    super
  rescue Guard::Enough
    dest
  end
end)

# Its main thread asks this in a loop without a pause, for as long as the slowest target takes.
Queue.prepend(Module.new do
  def num_waiting
    sleep 0.02
    super
  end
end)

# Last, so that there are no targets where any of this did not come about.
File.write('targets', Guard::PLACES.keys.join("\n"))
""".replace("PLUGIN_SECONDS", str(PLUGIN_SECONDS))
"""Written to `GUARD`. It reads TARGET_SECONDS and TARGET_BYTES of its environment."""
